"""Django: the two addresses."""

from django.urls import path
from views import decide, paid

urlpatterns = [path("applications", decide), path("payments", paid)]
