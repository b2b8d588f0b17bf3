"""A page of somebody else's site that shows what is said in a room: a bare EventSource, and nothing of ours."""

PAGE = """<!doctype html>
<title>Board</title>
<ul></ul>
<script>
  const events = new EventSource("BELOW/sse?room=lobby&history=50")
  events.addEventListener("message", event => {
    const { username, text } = JSON.parse(event.data)
    const line = document.createElement("li")
    line.textContent = `${username}: ${text}`
    document.querySelector("ul").append(line)
  })
  events.addEventListener("connected", event => document.title = JSON.parse(event.data).user.name)
</script>
"""


def page(below: str) -> str:
    """The page, where Hubbub is below a path."""
    return PAGE.replace("BELOW", below)
