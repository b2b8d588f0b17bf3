"""Prices: who joins gets the current one of each symbol, and then each change. `hubbub serve examples.ticker:app`."""

from hubbub import Command, Connection, Event, Hubbub, Publication

app = Hubbub()
app.rooms("ticker-*", latest_only=True)


class Quote(Command, tag="quote"):
    """Somebody has a price."""

    symbol: str
    price: float


class Price(Event, tag="price"):
    """What a symbol costs now; to all."""

    symbol: str
    price: float


@app.on(Quote)
def quote(conn: Connection, cmd: Quote) -> Publication:
    """Keeps the price in place of the one before, and sends it to all."""
    return conn.room.publish(Price(cmd.symbol, cmd.price), key=cmd.symbol)
