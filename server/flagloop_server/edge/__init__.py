"""The ASGI front: snapshots, key check, body limits, all in memory."""
