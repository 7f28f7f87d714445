"""What the REDUCER node keeps outside of itself."""
