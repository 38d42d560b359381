package registry

// Errors of the network: go-containerregistry's tell all of a request and its
// answer, over several lines at times. Here they become a few words and a hint,
// and errors.Is and errors.As still find the original.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// fault is an error in other words.
type fault struct {
	text  string
	cause error
}

func (f fault) Error() string { return f.text }
func (f fault) Unwrap() error { return f.cause }

// What a registry does not have, and what to do about it.
const (
	noManifest = "check the name and the tag, which is latest if none is given; the command tags lists those that are there"
	noBlob     = "the registry has lost a part of the image; push it again"

	noRepository = "check the name; some registries want a repository to be made first"
)

// explain says in one line what went wrong when host was asked; missing is the
// advice when it did not have it.
func explain(err error, host, missing string) error {
	if err == nil {
		return nil
	}
	say := func(text, advice string) error { return hint.Add(fault{text, err}, advice) }
	var (
		answer *transport.Error
		dns    *net.DNSError
		cert   *tls.CertificateVerificationError
		late   net.Error
		web    *url.Error
	)
	switch {
	case errors.As(err, &cert): // first: on loopback it was tried without TLS as well
		return say(oneLine(cert.Err.Error()), fmt.Sprintf("give the certificate of the authority that %s is signed by: --ca FILE, or as %s/%s/ca.crt", host, certificateFolders[0], host))
	case errors.As(err, &answer):
		return explainAnswer(answer, err, host, missing)
	case errors.Is(err, unix.ECONNREFUSED):
		return say("connection refused", fmt.Sprintf("is a registry listening on %s?", host))
	case errors.As(err, &dns):
		return say(fmt.Sprintf("look up host %q: %s", dns.Name, oneLine(dns.Err)),
			"check the registry's name, and this machine's network and /etc/resolv.conf")
	case errors.Is(err, http.ErrSchemeMismatch):
		return say(fmt.Sprintf("%s does not speak TLS", host), errPlainHTTP.Error())
	case errors.Is(err, errStalled):
		return say(errStalled.Error(), "pull again; what has come already is kept")
	case errors.As(err, &late) && late.Timeout():
		return say(fmt.Sprintf("no answer from %s", host), "check that this machine reaches the registry")
	case errors.As(err, &web): // it begins with the whole address
		return fault{oneLine(web.Err.Error()), err}
	}
	return fault{oneLine(err.Error()), err}
}

// explainAnswer says what an HTTP status means.
func explainAnswer(answer *transport.Error, err error, host, missing string) error {
	say := func(text, advice string) error { return hint.Add(fault{text, err}, advice) }
	switch answer.StatusCode {
	case http.StatusNotFound:
		return say("not found in the registry", missing)
	case http.StatusUnauthorized:
		return say("unauthorized", fmt.Sprintf("check the name, or log in to %s (docker login or podman login)", host))
	case http.StatusForbidden:
		return say("access denied", fmt.Sprintf("the account that is logged in to %s may not do this", host))
	case http.StatusTooManyRequests:
		return say("too many requests", "wait, or log in: registries allow accounts more")
	}
	text := fmt.Sprintf("the registry answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	if len(answer.Errors) > 0 {
		text += fmt.Sprintf(" (%s)", oneLine(answer.Errors[0].Message))
	}
	if answer.StatusCode >= 500 {
		return say(text, "the fault is the registry's; try again later")
	}
	return say(text, "")
}

// oneLine makes text from outside fit into an error: no line breaks, no control
// characters for the terminal, not too long.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}
