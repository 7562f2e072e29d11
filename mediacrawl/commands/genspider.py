"""`scrapy genspider -t media NAME DOMAIN`: Scrapy's own, with a template more."""

from __future__ import annotations

from pathlib import Path

from scrapy.commands import genspider

TEMPLATES = Path(__file__).parent.parent / "templates"


class Command(genspider.Command):
    """Looks for templates in this package too; `TEMPLATES_DIR` would replace Scrapy's own."""

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
