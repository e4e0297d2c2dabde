"""What late binding leaves beyond recall, what it costs in goodput, how soon new content is at the client."""
