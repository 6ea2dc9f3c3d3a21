"""From the kernel's sockets to the lanes' queues."""
