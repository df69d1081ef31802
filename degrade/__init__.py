"""Clean photo -> low-resolution photo with the damage that phones, messengers and networks leave."""
