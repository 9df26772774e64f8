"""The clients of a flowd daemon: Producer, Subscriber, Consumer, and `request` for its admin socket. Public API.

They speak FLW/1 and know nothing of the daemon's insides.
"""

from flowd.client.admin import request
from flowd.client.batch import Batch
from flowd.client.consumer import Consumer
from flowd.client.producer import Producer
from flowd.client.subscriber import Subscriber

__all__ = ["Batch", "Consumer", "Producer", "Subscriber", "request"]
