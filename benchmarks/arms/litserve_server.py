"""The server of the LitServe arm: `python -m benchmarks.arms.litserve_server MODEL THREADS DEVICE BATCH WAIT PORT`."""

import sys

import litserve

from benchmarks.arms.litserve_api import DiffusersApi


def main() -> None:
    model, threads, device, batch, wait, port = sys.argv[1:]
    api = DiffusersApi(model, threads=int(threads), device=device, max_batch_size=int(batch), batch_timeout=float(wait))
    server = litserve.LitServer(
        api, accelerator="cuda" if device.startswith("cuda") else "cpu", devices=1, timeout=False
    )
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
