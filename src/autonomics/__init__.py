"""OTP-style actors and supervision on trio, and a control plane that leaves receipts."""
