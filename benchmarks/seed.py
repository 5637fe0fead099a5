"""The naive service that people write first, as a reference: whole files in memory, and one list of all metadata.

Run it as `SEED_DIRECTORY=… uvicorn benchmarks.seed:app`.
"""

from __future__ import annotations

import json
import os
import pickle
import uuid
from pathlib import Path
from typing import Any

from fastapi import FastAPI, UploadFile
from fastapi.responses import Response

DIRECTORY = Path(os.environ.get("SEED_DIRECTORY", "."))
METADATA = DIRECTORY / "metadata.json"

app = FastAPI()


def load() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(METADATA.read_text()) if METADATA.exists() else {}
    return known


@app.post("/upload")
def upload(file: UploadFile) -> dict[str, str]:
    file_id = str(uuid.uuid4())
    data = file.file.read()
    with (DIRECTORY / f"{file_id}.pickle").open("wb") as blob:
        pickle.dump(data, blob)
    known = load()
    known[file_id] = {"name": file.filename, "size": len(data), "type": file.content_type, "downloads": 0}
    METADATA.write_text(json.dumps(known))
    return {"file_id": file_id}


@app.get("/download/{file_id}")
def download(file_id: str) -> Response:
    with (DIRECTORY / f"{file_id}.pickle").open("rb") as blob:
        data = pickle.load(blob)
    known = load()
    known[file_id]["downloads"] += 1
    METADATA.write_text(json.dumps(known))
    return Response(data, media_type=known[file_id]["type"])
