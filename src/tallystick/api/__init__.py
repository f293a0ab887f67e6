"""HTTP, WebSocket and SSE: what a node shows to the world. The only room that knows litestar and granian.

Knows routes, status codes and who may ask for what. Refuses to know rules of the ledger, and files except by the ports
and folders that it is handed.
"""
