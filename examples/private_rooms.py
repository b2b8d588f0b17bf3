"""Rooms for members only: the application says who comes in, and where. `hubbub serve examples.private_rooms:app`."""

from hashlib import sha256

from hubbub import Command, Connection, Credentials, Event, Hubbub, Identity, Publication

app = Hubbub()

# By digest: the keys themselves stand nowhere, and how long a look-up takes says nothing about them.
USERS = {
    sha256(b"the-key-of-ada").hexdigest(): Identity(user="u-ada", name="Ada"),
    sha256(b"the-key-of-bob").hexdigest(): Identity(user="u-bob", name="Bob"),
}
MEMBERS = {"team-red": {"u-ada"}, "team-blue": {"u-ada", "u-bob"}}


class Say(Command, tag="say"):
    """Somebody says something."""

    text: str


class Said(Event, tag="said"):
    """Somebody said something; to all."""

    who: str
    text: str


@app.authenticate
async def who(credentials: Credentials) -> Identity | None:
    """Whose key a client shows as its bearer token; None is answered with 401."""
    return USERS.get(sha256(credentials.token.encode()).hexdigest())


@app.authorize
def may(conn: Connection, verb: str, room: str) -> bool:
    """Lets all into the lobby, and into other rooms their members: to listen, to speak, to look back."""
    return room == "lobby" or conn.identity.user in MEMBERS.get(room, ())


@app.on(Say)
def say(conn: Connection, cmd: Say) -> Publication:
    """Keeps the text and sends it to all who are here."""
    return conn.room.publish(Said(conn.username, cmd.text))
