"""How lines come in over ZeroMQ: producers' conversations, and frames from senders that know no protocol."""
