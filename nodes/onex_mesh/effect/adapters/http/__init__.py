"""HTTP APIs, through httpx: no redirects, no proxies of the environment, methods and paths listed by the operator."""
