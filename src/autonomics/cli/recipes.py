"""`recipes`: the library that comes along, or a folder of one's own. No server is needed."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_table, print_text
from autonomics.cli.parser import CommandParser, did_you_mean
from autonomics.errors import CommandFailed

if TYPE_CHECKING:
    from autonomics.recipes.index import RecipeSet
    from autonomics.recipes.recipe import Recipe

    Files = Sequence[tuple[str, bytes]]


def _add_list(parser: CommandParser) -> None:
    parser.add_argument(
        "--from", dest="folder", type=Path, metavar="DIR", help="a folder of recipes"
    )
    parser.add_json()


def _add_show(parser: CommandParser) -> None:
    parser.add_argument("id", metavar="ID", help="the recipe's id")
    _add_list(parser)


def _add_test(parser: CommandParser) -> None:
    parser.add_argument(
        "what", nargs="?", metavar="DIR|ID", help="a folder of recipes, or one recipe's id"
    )
    _add_list(parser)


def _list(options: Namespace) -> None:
    recipes = _parse(_read_files(options.folder)).recipes
    if options.json:
        print_json({"recipes": [_describe(recipe) for recipe in recipes]})
        return
    rows = [(row.id, row.version, row.maturity, row.pack, row.title) for row in recipes]
    print_table(("id", "version", "maturity", "pack", "title"), rows)


def _show(options: Namespace) -> None:
    files = _read_files(options.folder)
    recipe = _find(_parse(files), options.id)
    text = next(data.decode() for name, data in files if _is_file_of(name, recipe))
    if options.json:
        print_json({**_describe(recipe), "source": text})
        return
    print_text(f"# {recipe.id} {recipe.version}, content digest {recipe.digest}")
    print_text(text.rstrip("\n"))


def _test(options: Namespace) -> int:
    from autonomics.recipes.inline_test import run_inline_tests
    from autonomics.recipes.library import parse_fixtures

    folder, wanted = options.folder, options.what
    if wanted is not None and folder is None and Path(wanted).is_dir():
        folder, wanted = Path(wanted), None
    files = _read_files(folder)
    recipes, fixtures = _parse(files), parse_fixtures(files)
    chosen = recipes.recipes if wanted is None else (_find(recipes, wanted),)
    results = [result for each in chosen for result in run_inline_tests(each, fixtures, recipes)]
    failed = sum(not result.has_passed for result in results)
    if options.json:
        shown = [
            {
                "recipe": result.recipe,
                "test": result.name,
                "passed": result.has_passed,
                "differences": list(result.differences),
            }
            for result in results
        ]
        print_json({"tests": shown, "passed": len(results) - failed, "failed": failed})
    else:
        for result in results:
            print_text(f"{'ok  ' if result.has_passed else 'FAIL'}  {result.recipe}: {result.name}")
            for difference in result.differences:
                print_text(f"      {difference}")
        print_text(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _read_files(folder: Path | None) -> Files:
    """Return the files of a library by their names in it: `<area>/<recipe>.toml`."""
    if folder is None:
        from autonomics.service import read_library

        return read_library()
    if not folder.is_dir():
        raise CommandFailed(f"there is no folder {folder}")
    # The folder of one area is welcome too: its own name is then the area.
    root = folder.resolve()
    root = root.parent if any(root.glob("*.toml")) else root
    found = sorted(
        path for path in folder.resolve().rglob("*") if path.suffix in (".toml", ".json")
    )
    files = [(path.relative_to(root).as_posix(), path.read_bytes()) for path in found]
    if not any(name.endswith(".toml") for name, _ in files):
        raise CommandFailed(f"there is no recipe in {folder}")
    return files


def _parse(files: Files) -> RecipeSet:
    from autonomics.recipes.library import parse_library

    return parse_library(files)


def _find(recipes: RecipeSet, recipe_id: str) -> Recipe:
    found = recipes.get(recipe_id)
    if found is None:
        known = [recipe.id for recipe in recipes.recipes]
        hint = did_you_mean(recipe_id, known) or "; see autonomics recipes list"
        raise CommandFailed(f"there is no recipe or folder {recipe_id}{hint}")
    return found


def _is_file_of(name: str, recipe: Recipe) -> bool:
    area, _, short = recipe.id.partition(".")
    return name.split("/")[-2:] == [area, f"{short}.toml"]


def _describe(recipe: Recipe) -> dict[str, Any]:
    return {
        "id": recipe.id,
        "version": recipe.version,
        "title": recipe.title,
        "maturity": recipe.maturity,
        "pack": recipe.pack,
        "owner": recipe.owner,
        "advice": recipe.advice,
        "digest": recipe.digest,
        "kinds": list(recipe.match.kinds),
        "facts": [fact.call for fact in recipe.facts],
        "actions": [action.call for action in recipe.actions],
        "approvals": recipe.approvals,
        "tests": len(recipe.tests),
    }


COMMANDS = (
    Command("list", "list recipes", _add_list, _list),
    Command("show", "print a recipe", _add_show, _show),
    Command("test", "run recipes' own examples", _add_test, _test),
)
