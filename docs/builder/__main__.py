"""Build the site from `docs/` into `build/docs`: `python -m docs.builder [OUT]`, from the root of a checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from docs.builder.finished import finish, problems
from docs.builder.generated import generated_pages
from docs.builder.navigation import site_settings
from docs.builder.pages import copied_files, written_pages

ROOT = Path(__file__).resolve().parents[2]


def main(out: Path) -> int:
    """Write the pages, let zensical make HTML of them, check every link; 0 where all is well."""
    settings = out / "zensical.toml"
    if out.exists() and not settings.is_file() and (not out.is_dir() or any(out.iterdir())):
        print(f"{out}: holds something else than this site; name an empty folder", file=sys.stderr)
        return 1
    source, made = out / "source", out / "made"
    pages = {**written_pages(ROOT), **generated_pages(ROOT)}
    out.mkdir(parents=True, exist_ok=True)
    settings.write_text(site_settings(ROOT, source.name, made.name, pages), encoding="utf-8")  # marks it as ours
    for folder in (source, made):
        shutil.rmtree(folder, ignore_errors=True)
    for name, text in pages.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")
    for name, path in copied_files(ROOT).items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, source / name)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--config-file", str(settings)]
    if status := subprocess.run(command, check=False).returncode:
        return status
    finish(made)
    found = problems(made)
    print(*found, f"{len(list(made.rglob('*.html')))} pages in {made}, {len(found)} problems", sep="\n")
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/docs").resolve()))
