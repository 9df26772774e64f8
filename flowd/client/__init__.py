"""The clients of a flowd daemon: Producer, Subscriber, and `request` for its admin socket. Public API.

They speak FLW/1 and know nothing of the daemon's insides.
"""

from flowd.client.admin import request
from flowd.client.producer import Producer
from flowd.client.subscriber import Batch, Subscriber

__all__ = ["Batch", "Producer", "Subscriber", "request"]
