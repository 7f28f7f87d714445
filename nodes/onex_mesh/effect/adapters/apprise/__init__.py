"""Notices: templates of the operator, sent to chats, pagers and webhooks through apprise."""
