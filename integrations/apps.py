from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    name = "integrations"

    def ready(self) -> None:
        from . import checks, sign_in  # noqa: F401  (checks register themselves)

        sign_in.listen()
