"""The analyzer of Microsoft Presidio behind its own HTTP API, as a guard outside of the gateway.

The package of PyPI has the analyzer, but neither its web application nor a language model. So the few lines that the
application has are here, over what the standard library serves HTTP with, and texts are cut into words by an empty spaCy
pipeline: recognizers that go by patterns, checksums and words nearby work, names of people and places are not found.

Prints its port, and ends with its input.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Lists of names of the internet are part of the packages: nothing is fetched.
os.environ.setdefault("TLDEXTRACT_CACHE_TIMEOUT", "0.001")

import spacy
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.analyzer_request import AnalyzerRequest
from presidio_analyzer.nlp_engine import SlimSpacyNlpEngine
from presidio_analyzer.recognizer_registry import RecognizerRegistry

words = SlimSpacyNlpEngine(supported_languages=["en"], auto_download=False)
words.nlp = {"en": spacy.blank("en")}
registry = RecognizerRegistry()
registry.load_predefined_recognizers(languages=["en"], nlp_engine=words)
engine = AnalyzerEngine(registry=registry, nlp_engine=words, supported_languages=["en"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            if self.path != "/analyze":
                return self.answer(404, {"error": "not found"})
            request = AnalyzerRequest(json.loads(body))
            if not request.text:
                raise ValueError("No text provided")
            if not request.language:
                raise ValueError("No language provided")
            found = engine.analyze(
                text=request.text,
                language=request.language,
                correlation_id=request.correlation_id,
                score_threshold=request.score_threshold,
                entities=request.entities,
                return_decision_process=request.return_decision_process,
                ad_hoc_recognizers=request.ad_hoc_recognizers,
                context=request.context,
                allow_list=request.allow_list,
            )
            self.answer(200, [one.to_dict() for one in found])
        except Exception as error:
            self.answer(500, {"error": str(error)})

    def answer(self, status, value):
        body = json.dumps(value, default=str).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
