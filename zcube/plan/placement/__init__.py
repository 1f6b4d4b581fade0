"""Where prefill and decode groups sit on a fabric, and which NIC talks to which."""
