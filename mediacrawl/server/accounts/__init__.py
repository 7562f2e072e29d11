"""The people of a server: their rights, their logins, and whether a request may be fulfilled. A Django application.

`rights` decides and needs no Django. `people` changes and looks up people, without HTTP; `throttling` slows logins;
`access` and `requests` know who has sent a request. Before `people` and `requests` are imported,
`configuration.set_up` has set Django up.
"""
