"""What `hubbub serve` serves where it is told nothing else: the chat, and the dashboard of the nodes that serve it."""

from hubbub import Hubbub
from hubbub.apps import chat, dashboard

app = Hubbub()
app.include(chat.app)
app.include(dashboard.app)
