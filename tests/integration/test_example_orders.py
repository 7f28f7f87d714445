"""The orders example on a real mesh: every order once in the table, the mailbox and the event log, whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from examples.orders.verify import expectations, look, problems

ROOT = Path(__file__).resolve().parents[2]
ORDERS = ROOT / "examples/orders/orders.csv"
SAMPLE = Path(os.environ.get("ONEX_SAMPLE_ORDERS", ROOT.parent / "shared/data/online_retail_sample.csv"))


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "examples.orders.run", "--out", str(folder), *arguments]


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    """Runs the example; returns what it printed."""
    done = subprocess.run(
        command(folder, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert_nothing_runs(folder)
    return done.stdout + done.stderr


def processes_of(folder: Path) -> list[str]:
    """Processes that have the folder in their command line."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and process.info["pid"] != os.getpid():
            found.append(line)
    return found


def assert_nothing_runs(folder: Path) -> None:
    """R164: no process of the run is left."""
    assert processes_of(folder) == []


def test_every_order_is_recorded_once_and_a_second_run_doubles_nothing(tmp_path: Path) -> None:
    """R70–R72, R161, F37: the whole pipeline; table, mailbox, event log and an independent computation agree."""
    out = run(tmp_path / "out", "--concurrency", "6")
    found = look(tmp_path / "out")
    expected = expectations(ORDERS)
    assert len(expected) == 12
    assert problems(expected.values(), found) == []
    assert {number: rows[0] for number, rows in found.rows.items()}["C700109"] == ("CREDITED", -3428)
    assert found.rows["700106"] == [("REJECTED", 0)]
    assert found.rows["700108"] == [("ORDER_PLACED", 3438)]
    assert "12 orders, 145097 pence in the table, 145097 by an independent computation." in out
    assert "WRONG" not in out
    guest = found.mails["700103"][0]
    assert guest.to == "desk@shop.example"
    assert guest.subject == "Your order ord-700103: £17.51"
    assert "1 x COPPER MEASURING CUPS at £14.99: £14.99" in guest.body
    partial = found.mails["700104"][0]
    assert partial.to == "customer-20101@customers.shop.example"
    assert "PAPER STAR DECORATION LARGE: the quantity -5 is not more than zero" in partial.body
    with closing(sqlite3.connect(tmp_path / "out" / "orders.db")) as database:
        row = database.execute("SELECT items, customer_id, country FROM orders WHERE invoice_no = '700110'").fetchone()
    assert json.loads(row[0])[0]["unit_price"] == "199.00"
    assert row[1:] == ("20402", "Éire")

    again = run(tmp_path / "out")
    assert again.count("was placed before") == 12
    assert look(tmp_path / "out") == found


def test_an_invoice_that_changed_is_not_placed_again(tmp_path: Path) -> None:
    """The same id with other content is refused, and the run says so and fails."""
    orders = tmp_path / "orders.csv"
    lines = ORDERS.read_text(encoding="utf-8").splitlines(keepends=True)
    orders.write_text("".join(lines[:7]), encoding="utf-8")
    run(tmp_path / "out", "--orders", str(orders))
    orders.write_text("".join(lines[:7]).replace("700101,10123,BRASS CANDLE SNUFFER,4", "700101,10123,X,5"), "utf-8")
    out = run(tmp_path / "out", "--orders", str(orders), code=1)
    assert "WRONG: 700101: was placed before with other lines" in out
    assert look(tmp_path / "out").rows["700101"] == [("ORDER_PLACED", 4740)]


def test_ctrl_c_leaves_nothing_running_and_the_next_run_goes_on(tmp_path: Path) -> None:
    """Issue 2 §5: Ctrl-C in the middle leaves no process; what was begun is finished by the next run, once."""
    folder = tmp_path / "out"
    with subprocess.Popen(
        command(folder, "--concurrency", "1"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not list((folder / "mailbox").glob("*.eml")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert "Traceback" not in out + error
    # Twelve orders are quick: the run may have ended by itself just before.
    assert process.returncode in (130, 0)
    assert_nothing_runs(folder)
    run(folder)
    assert problems(expectations(ORDERS).values(), look(folder)) == []


def test_the_check_finds_what_is_wrong(tmp_path: Path) -> None:
    """A check that cannot fail proves nothing: a doubled row, a lost mail and a changed sum are found."""
    run(tmp_path / "out")
    database = tmp_path / "out" / "orders.db"
    expected = list(expectations(ORDERS).values())

    def wrong() -> list[str]:
        return problems(expected, look(tmp_path / "out"))

    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO orders SELECT * FROM orders WHERE invoice_no = '700101'")
    assert [text.partition(":")[0] for text in wrong()] == ["700101"]
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM orders WHERE rowid = (SELECT max(rowid) FROM orders)")
        connection.execute("UPDATE orders SET total_pence = total_pence + 1 WHERE invoice_no = '700102'")
    assert [text.partition(":")[0] for text in wrong()] == ["700102"]
    mail = look(tmp_path / "out").mails["700103"][0].path
    shutil.copy(mail, mail.with_name("again.eml"))
    assert "700103: 2 mails, expected 1" in wrong()
    log = tmp_path / "out" / "order-events.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join(line for line in lines if "700104" not in line), encoding="utf-8")
    assert "700104: 0 events, expected 1" in wrong()


def test_what_is_no_export_is_told(tmp_path: Path) -> None:
    """A wrong file ends the run with 2 and one line."""
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n1,2\n", encoding="utf-8")
    assert "error: missing columns: InvoiceNo" in run(tmp_path / "out", "--orders", str(bad), code=2)
    assert "No such file" in run(tmp_path / "out", "--orders", str(tmp_path / "none.csv"), code=2)


@pytest.mark.slow
@pytest.mark.skipif(
    not SAMPLE.exists(), reason="optional: no sample of real orders is there; ONEX_SAMPLE_ORDERS names it"
)
def test_real_orders(tmp_path: Path) -> None:
    """Issue 2 §5: the same code takes a shop's real export, with its cancellations, guests and odd lines."""
    out = run(tmp_path / "out", "--orders", str(SAMPLE), "--concurrency", "16", "--orchestrators", "2")
    expected = expectations(SAMPLE)
    found = look(tmp_path / "out")
    assert len(expected) == len(found.rows) == 66
    assert problems(expected.values(), found) == []
    assert "66 orders, 2450375 pence in the table, 2450375 by an independent computation." in out
