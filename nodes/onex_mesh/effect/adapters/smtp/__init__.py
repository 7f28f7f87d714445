"""Mail: templates of the operator, sent through a mail server."""
