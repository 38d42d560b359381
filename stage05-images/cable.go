package main

// The cable between the registry and the demonstration: an HTTP proxy that
// counts which blobs are fetched, and that can be told to change one of them.

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// cable is the proxy.
type cable struct {
	listener net.Listener
	server   *http.Server
	served   chan error
	fetched  atomic.Int64           // blobs, so far
	victim   atomic.Pointer[string] // the digest of the blob to change; nil: none
}

// newCable starts a proxy in front of the registry at server, host:port.
func newCable(server string) (*cable, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lay the cable: %w", err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: server})
	c := &cable{listener: listener, served: make(chan error, 1)}
	proxy.ModifyResponse = c.pass
	// A pull that has found the fault lets go of the other layers; that is no
	// error to talk about.
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	c.server = &http.Server{Handler: proxy, ReadHeaderTimeout: 10 * time.Second}
	go func() { c.served <- c.server.Serve(listener) }()
	return c, nil
}

func (c *cable) address() string { return c.listener.Addr().String() }

// blobs is how many were fetched so far.
func (c *cable) blobs() int64 { return c.fetched.Load() }

// tamper makes the cable change the last layer of the image from now on.
func (c *cable) tamper(img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	digest, err := layers[len(layers)-1].Digest()
	if err != nil {
		return err
	}
	name := digest.String()
	c.victim.Store(&name)
	return nil
}

// pass sees each answer of the registry.
func (c *cable) pass(r *http.Response) error {
	_, digest, isBlob := strings.Cut(r.Request.URL.Path, "/blobs/sha256:")
	if !isBlob || r.Request.Method != http.MethodGet || r.StatusCode != http.StatusOK {
		return nil
	}
	c.fetched.Add(1)
	if victim := c.victim.Load(); victim != nil && *victim == "sha256:"+digest {
		r.Body = &flipped{ReadCloser: r.Body}
	}
	return nil
}

// flipped is a body with one bit changed: the lowest one of its first byte.
type flipped struct {
	io.ReadCloser
	done bool
}

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 && !f.done {
		p[0] ^= 1
		f.done = true
	}
	return n, err
}

// Close ends the proxy.
func (c *cable) Close() error {
	err := c.server.Close()
	if end := <-c.served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
