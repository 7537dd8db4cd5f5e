"""What a link is: rates, delays, energy, queues."""
