"""One module per `Store`; the port stands in `autonomics.receipts.store`."""
