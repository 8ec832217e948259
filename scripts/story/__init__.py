"""The story of `make demo`: chapters that use a cloud as a person would, and prove by packets what its API says.

screen.py    what is printed              openstack.py  the client, each command as typed (prefork.py makes it fast)
guest.py     a shell in a guest           world.py      what exists on this machine because of the cloud
setting.py   who and what the story uses  one module for each chapter, told in the order of ../demo.py
"""
