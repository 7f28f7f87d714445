"""Object stores: file operations on S3-compatible servers, and in memory for development."""
