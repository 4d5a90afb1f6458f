"""A mail relay (aiosmtpd): prints its port, and every mail that it takes as a line of JSON.

With CERTIFICATE and KEY it offers STARTTLS, takes nothing without, and wants `gate` to sign in with the password `opensesame`.
"""

import email
import email.policy
import json
import logging
import socket
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


class Printing:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        said = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "subject": message["Subject"],
            "headers": [name for name, _ in message.items()],
            "text": message.get_content(),
            "tls": session.ssl is not None,
            "user": (session.auth_data.login.decode() if session.auth_data else None),
        }
        print(json.dumps(said), flush=True)
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    is_right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"gate", b"opensesame")
    return AuthResult(success=is_right, auth_data=data, handled=False)


options = {}
if len(sys.argv) > 2:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    options = dict(
        tls_context=context, require_starttls=True, authenticator=authenticate, auth_required=True, auth_require_tls=True
    )

# Whoever turns away is no news.
logging.getLogger("mail.log").setLevel(logging.CRITICAL + 1)

# Any free port; the controller itself would try to connect to port 0.
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]

controller = Controller(Printing(), hostname="127.0.0.1", port=port, **options)
controller.start()
print(json.dumps({"port": port}), flush=True)
threading.Event().wait()
