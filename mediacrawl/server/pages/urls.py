"""The URLs of the pages, below the prefix of the server. Files themselves: `mediacrawl.server.site`."""

from __future__ import annotations

from django.urls import path, re_path

from mediacrawl.server.pages import account_views, folder_views

urlpatterns = [
    path("", folder_views.start_page, name="start"),
    # A path of the store follows, with any character: line ends too, which `<path:…>` does not accept.
    re_path("^files/", folder_views.folder_page, name="files"),
    re_path("^play/", folder_views.player_page, name="play"),
    path("search", folder_views.search_page, name="search"),
    path("static/<str:name>", folder_views.static_file, name="static"),
    path("login", account_views.login_page, name="login"),
    path("logout", account_views.logout_page, name="logout"),
    path("invitation/<str:token>", account_views.invitation_page, name="invitation"),
    path("account", account_views.account_page, name="account"),
    path("account/password", account_views.post_password, name="password"),
    path("account/application-passwords", account_views.post_application_password, name="application_passwords"),
    path("account/application-passwords/revoke", account_views.post_revocation, name="revoke"),
    path("people", account_views.people_page, name="people"),
    path("people/invite", account_views.post_invitation, name="invite"),
    path("people/withdraw", account_views.post_withdrawal, name="withdraw"),
    path("people/rights", account_views.post_rights, name="rights"),
    path("people/remove", account_views.post_removal, name="remove"),
]
handler400 = "mediacrawl.server.pages.error_views.bad_request"
handler403 = "mediacrawl.server.pages.error_views.forbidden"
handler404 = "mediacrawl.server.pages.error_views.not_found"
handler500 = "mediacrawl.server.pages.error_views.failed"
