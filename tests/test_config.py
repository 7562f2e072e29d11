"""Options: parsed, refused and documented in one place."""

import re
from pathlib import Path

import pytest
from scrapy.settings import Settings

import mediacrawl
from mediacrawl import config, settings
from mediacrawl.config import OPTIONS, Option, refuse_unknown_settings, settings_markdown
from mediacrawl.errors import UsageProblem

NO_BUNDLE = "must be True, False, or the path of a bundle of certificates: there is no such file"
PACKAGE = Path(mediacrawl.__file__).parent
CLONE = PACKAGE.parent


def test_the_documentation_is_up_to_date():
    assert (CLONE / "docs/settings.md").read_text(encoding="utf-8") == settings_markdown(), (
        "run: python -m mediacrawl.config > docs/settings.md"
    )


def test_the_settings_of_the_project_are_the_defaults():
    assert {option.name: getattr(settings, option.name) for option in OPTIONS} == {
        option.name: option.default for option in OPTIONS
    }


def test_names_are_unique():
    names = [name for option in OPTIONS for name in (option.name, *option.former_names)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_an_option_reads_its_default_and_is_explained(option):
    if option.default != "":
        assert option.parse(option.default) == option.parse(str(option.default)) == option.default
    assert option.help
    assert bool(option.unit) == (not isinstance(option.default, bool | str))


def test_each_name_in_code_and_texts_is_an_option():
    """But for variables of the environment."""
    known = {option.name for option in OPTIONS} | {"MEDIACRAWL_DEMO_BYTES_PER_S", "MEDIACRAWL_ADMIN_PASSWORD"}
    known |= {name for option in OPTIONS for name in option.former_names}
    texts = [*PACKAGE.rglob("*.py"), CLONE / "README.md", *CLONE.glob("docs/*.md")]
    found = {name for path in texts for name in re.findall(r"\bMEDIACRAWL_[A-Z0-9_]+\b", path.read_text("utf-8"))}
    assert found - known == set()


@pytest.mark.parametrize(
    ("option", "given", "value"),
    [
        (config.STALL_S, "2.5", 2.5),
        (config.STALL_S, None, 30.0),
        (config.STALL_BYTES, "0", 0),
        (config.FILES_EXPIRES, "7", 7),
        (config.DOWNLOAD_MAXSIZE, 1.1 * 1024**3, 1181116006),
        (config.FSYNC, "0", False),
        (config.FSYNC, "false", False),
        (config.FSYNC, 1, True),
        (config.VERIFY_TLS, __file__, __file__),
        (config.VERIFY_TLS, "False", False),
        (config.FILES_STORE, Path("/archive"), "/archive"),
        (config.FILES_STORE, "", "downloads"),
        (config.SESSION_FACTORY, Settings, "scrapy.settings.Settings"),
        (config.PAGE_MAXSIZE, None, 0),
    ],
)
def test_a_value_is_read(option, given, value):
    read = option.of({option.name: given})
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("option", "given", "says"),
    [
        (config.STALL_S, "0", "MEDIACRAWL_STALL_S=0 must be more than 0"),
        (config.STALL_S, "inf", "MEDIACRAWL_STALL_S=inf must be a finite number"),
        (config.STALL_S, "nan", "MEDIACRAWL_STALL_S=nan must be a finite number"),
        (config.STALL_S, "", "MEDIACRAWL_STALL_S= must be a number"),
        (config.STALL_BYTES, "1.5", "MEDIACRAWL_STALL_BYTES=1.5 must be a whole number"),
        (config.FILES_EXPIRES, "5.0", "FILES_EXPIRES=5.0 must be a whole number"),
        (config.FSYNC, "perhaps", "MEDIACRAWL_FSYNC=perhaps must be True or False"),
        (config.FSYNC, [], "MEDIACRAWL_FSYNC=[] must be True or False"),
        (config.CONCURRENT_TRANSFERS, "0.5", "MEDIACRAWL_CONCURRENT_TRANSFERS=0.5 must be a whole number"),
        (config.STALL_S, "http://me:secret@h/", "MEDIACRAWL_STALL_S=http://h/ must be a number"),
        (
            config.VERIFY_TLS,
            "maybe",
            f"MEDIACRAWL_VERIFY_TLS=maybe {NO_BUNDLE}",
        ),
        (config.CONCURRENT_TRANSFERS, "-3", "MEDIACRAWL_CONCURRENT_TRANSFERS=-3 must be 0 or more"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_in_one_line(option, given, says):
    with pytest.raises(UsageProblem) as caught:
        option.of({option.name: given})
    assert str(caught.value) == says


def test_a_pipeline_may_have_a_setting_of_its_own():
    with pytest.raises(UsageProblem, match=r"MINE_FILES_EXPIRES=x must be a number"):
        config.FILES_EXPIRES.of({"FILES_EXPIRES": 1, "MINE_FILES_EXPIRES": "x"}, "MINE_FILES_EXPIRES")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "MEDIACRAWL_STAL_S",
            "there is no setting MEDIACRAWL_STAL_S; the nearest one is MEDIACRAWL_STALL_S, docs/settings.md has all",
        ),
        ("MEDIACRAWL_HASH256", "the nearest one is MEDIACRAWL_SHA256,"),
        ("MEDIACRAWL_RETRYS", "the nearest one is MEDIACRAWL_RETRY_TIMES,"),
        ("MEDIACRAWL_CONCURRENT_TRANSFER", "the nearest one is MEDIACRAWL_CONCURRENT_TRANSFERS,"),
        # Nothing is near.
        ("MEDIACRAWL_TIMEOUT", "there is no setting MEDIACRAWL_TIMEOUT; docs/settings.md has all"),
        ("MEDIACRAWL_X", "there is no setting MEDIACRAWL_X; docs/settings.md has all"),
        ("MEDIACRAWL_", "there is no setting MEDIACRAWL_; docs/settings.md has all"),
        ("MEDIACRAWL_OLD_S", "MEDIACRAWL_OLD_S is called MEDIACRAWL_NEW_S now"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_with_the_right_one(name, says):
    renamed = Option("MEDIACRAWL_NEW_S", 1.0, config.number, "", "", "seconds", former_names=("MEDIACRAWL_OLD_S",))
    with pytest.raises(UsageProblem) as caught:
        refuse_unknown_settings(Settings({name: 1}), (*OPTIONS, renamed))
    assert says in str(caught.value)


def test_names_of_others_are_theirs():
    refuse_unknown_settings(Settings({"MEDIACRAWLER_X": 1, "MY_MEDIACRAWL_X": 2, "MEDIACRAWL_FSYNC": False}))
