"""`scrapy genspider -t media NAME DOMAIN`: Scrapy's own command, with one more template."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scrapy.commands import genspider
from scrapy.utils.conf import closest_scrapy_cfg

from mediacrawl import settings

if TYPE_CHECKING:
    import argparse

PACKAGE = Path(__file__).parent.parent
TEMPLATES = PACKAGE / "templates"


class Command(genspider.Command):
    """Looks for templates in this package too; the setting `TEMPLATES_DIR` would replace Scrapy's own templates."""

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        assert self.settings is not None
        if self.settings["NEWSPIDER_MODULE"] == settings.NEWSPIDER_MODULE and not _is_in_the_clone():
            # An installed package is no place for a spider: an update would remove the spider. Without a module,
            # Scrapy writes into the current folder, as it does outside a project.
            self.settings.set("NEWSPIDER_MODULE", "", priority="cmdline")
        super().run(args, opts)

    def _find_template(self, template: str) -> Path | None:
        ours = TEMPLATES / f"{template.removesuffix('.tmpl')}.tmpl"
        if ours.exists():
            return ours
        found: Path | None = super()._find_template(template)
        return found

    def _list_templates(self) -> None:
        super()._list_templates()
        for path in sorted(TEMPLATES.glob("*.tmpl")):
            print(f"  {path.stem}")


def _is_in_the_clone() -> bool:
    """Return whether the current folder belongs to the project that contains the source of this package."""
    project = closest_scrapy_cfg()
    return bool(project) and Path(project).parent.resolve() == PACKAGE.parent.resolve()
