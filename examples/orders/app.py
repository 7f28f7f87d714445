"""The App of the orders example: the pricing as an algorithm, the order as a state machine, and the workflow."""

from __future__ import annotations

from examples.orders.invoice import NotAnInvoiceError, read_invoice
from examples.orders.machine import OrderMachine
from examples.orders.order import Priced, priced
from examples.orders.pricing import price_invoice
from onex_mesh.app import App
from onex_mesh.runtime.errors import ValidationError

app = App("orders", version="1.0.0", description="The order process of a shop")


@app.algorithm(version="1.0.0")
def price_order(data: list[dict[str, str]]) -> Priced:
    """Prices one invoice; the data are its lines as the shop's order system exports them."""
    try:
        return priced(price_invoice(read_invoice(data)))
    except NotAnInvoiceError as error:
        raise ValidationError(f"not an invoice: {error}") from error


app.reducer(name="order", version="1.0.0")(OrderMachine)
app.workflow("workflow.yaml")
