"""Templates of the operator, for mails and notices: Jinja2 in a sandbox whose time and output are bounded."""
