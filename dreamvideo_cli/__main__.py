"""``python -m dreamvideo_cli`` is ``dv``."""

from dreamvideo_cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
