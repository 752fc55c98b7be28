"""`forebay preflight`: what would keep this node's ranks from serving, found before anybody asks them."""
