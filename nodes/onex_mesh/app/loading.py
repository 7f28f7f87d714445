"""Loading an App by "module:attribute", as ASGI servers load theirs; what goes wrong is told in the author's terms."""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from pathlib import Path

from onex_mesh.app.application import App
from onex_mesh.runtime.errors import OnexError, ValidationError


def load_app(name: str, *, directory: Path = Path()) -> App:
    """The App that `module:attribute` names.

    Args:
        name: Such as "shop.orders:app"; without an attribute, "app" is taken.
        directory: Searched before the installed packages. Default: the working folder.

    Raises:
        ValidationError: The module or the attribute is not there, is no App, or fails while it is imported, or the
            inverse of an effect is missing or cannot be called; the message says which, with file and line.
    """
    module_name, _, attribute = name.partition(":")
    attribute = attribute or "app"
    is_file = module_name.endswith(".py") or "/" in module_name
    if is_file or not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        hint = "; give the module, not the file" if is_file else ""
        raise ValidationError(
            f"{name!r} does not name an App; expected module:attribute, such as shop.orders:app{hint}"
        )
    module = _import(module_name, directory.resolve())
    value = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise ValidationError(f"the module {module_name!r} has no {attribute!r}{_instead(module, attribute)}")
        value = getattr(value, part)
    if not isinstance(value, App):
        raise ValidationError(f"{name!r} is a {type(value).__name__}, not an App{_instead(module, attribute)}")
    # An effect may be registered after the one that it undoes: only now all of them are there.
    value.effects.check()
    return value


def _import(module_name: str, directory: Path) -> object:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ValidationError(f"no module {error.name!r} in {directory} or among the installed packages") from error
        raise _failed(module_name, error) from error
    except OnexError as error:
        # What the App refused: the definitions name file and line themselves.
        if error.message.startswith("/") or _where(error) is None:
            raise
        raise _failed(module_name, error) from error
    except SyntaxError as error:
        raise ValidationError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except Exception as error:
        raise _failed(module_name, error) from error
    except SystemExit as error:
        raise ValidationError(f"the module {module_name!r} ends the process when it is imported") from error


def _failed(module_name: str, error: Exception) -> ValidationError:
    text = error.message if isinstance(error, OnexError) else f"{type(error).__name__}: {error}"
    where = _where(error)
    return ValidationError(f"{where or f'the module {module_name!r}'}: {text}")


def _where(error: BaseException) -> str | None:
    """File and line of the innermost frame that belongs to the App and not to a library."""
    own = Path(__file__).resolve().parents[1]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        library = "site-packages" in path.parts or path.is_relative_to(own) or frame.filename.startswith("<")
        if not library and not path.is_relative_to(Path(importlib.__file__).parents[1]):
            return f"{frame.filename}:{frame.lineno}"
    return None


def _instead(module: object, attribute: str) -> str:
    """What else the author may have meant."""
    apps = [name for name, value in vars(module).items() if isinstance(value, App)]
    if not apps:
        return "; it holds no App"
    close = difflib.get_close_matches(attribute, apps, n=1) or apps
    return f"; did you mean {', '.join(repr(name) for name in close)}?"
