"""The App of the orders example: the pricing as an algorithm, the order as a state machine, and the workflow."""

from __future__ import annotations

from examples.orders.invoice import NotAnInvoiceError, read_invoice
from examples.orders.order import Priced, priced
from examples.orders.pricing import price_invoice
from onex_mesh.app import App
from onex_mesh.runtime.errors import ValidationError

app = App("orders", version="1.0.0", description="The order process of a shop")


@app.algorithm(version="1.0.0")
def price_order(data: bytes) -> Priced:
    """Reads one invoice, as the shop's order system exports it, and prices it."""
    try:
        return priced(price_invoice(read_invoice(data.decode("utf-8"))))
    except UnicodeDecodeError as error:
        raise ValidationError(f"the order file is not UTF-8 text: {error.reason}") from error
    except NotAnInvoiceError as error:
        raise ValidationError(f"not an order file: {error}") from error


app.workflow("workflow.yaml")
