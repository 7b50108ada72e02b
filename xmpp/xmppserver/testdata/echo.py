"""A client made by others: logs in, subscribes to alice, and does what she says.

usage: echo.py JID PASSWORD HOST PORT CAFILE direct|starttls
"""
import logging
import sys

import slixmpp

logging.basicConfig(level=logging.WARNING)
jid, password, host, port, ca, how = sys.argv[1:]


class Echo(slixmpp.ClientXMPP):
    def __init__(self):
        super().__init__(jid, password)
        self.ca_certs = ca
        for plugin in ("xep_0030", "xep_0198", "xep_0199"):
            self.register_plugin(plugin)
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("session_resumed", self.resumed)
        self.add_event_handler("message", self.told)
        self.add_event_handler("failed_auth", lambda _: self.fail("not authorized"))
        self.add_event_handler("stream_error", lambda e: self.fail(str(e)))
        self.add_event_handler("disconnected", self.gone)
        self.cutting = False

    def fail(self, why):
        print("failed:", why, flush=True)
        sys.exit(1)

    def dial(self):
        self.connect((host, int(port)), use_ssl=how == "direct", force_starttls=how != "direct")

    async def started(self, _):
        await self.get_roster()
        self.send_presence()
        info = await self["xep_0030"].get_info(jid=self.boundjid.domain)
        rtt = await self["xep_0199"].ping(self.boundjid.domain)
        assert "urn:xmpp:ping" in info["disco_info"]["features"] and rtt < 5
        self.send_presence_subscription("alice@one.test")
        self.send_message("alice@one.test/a", "here as %s" % self.boundjid.full, mtype="chat")

    def told(self, message):
        if message["body"] == "quit":
            self.disconnect()
        elif message["body"] == "cut":
            self.cutting = True
            self.transport.abort()
        else:
            message.reply("echo: " + message["body"]).send()

    def gone(self, _):
        if self.cutting:
            self.cutting = False
            self.dial()
        else:
            self.loop.stop()

    def resumed(self, _):
        self.send_message("alice@one.test/a", "resumed", mtype="chat")


echo = Echo()
echo.dial()
echo.loop.run_forever()
