"""What drives the node: WebSocket, HTTP and the hub, on aiohttp."""
