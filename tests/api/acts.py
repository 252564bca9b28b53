"""What an operator sends: one call on one operation."""

import httpx

from tests.api.desk import Desk


async def act(desk: Desk, id_: str, action: str, body: object = None, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await desk.client.post(f"/operations/{id_}/{action}", json=body, headers=sent)
