"""The servers that run the gateway: uvicorn, or granian."""
