"""What stands at the TCP endpoints: keys and what they allow, the gate, and the lanes behind it."""
