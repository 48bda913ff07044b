package etcdtest

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// A Proxy passes calls on to a server, and can lose the answer to one that was
// carried out: the connection dies after it.
type Proxy struct {
	listener net.Listener
	server   *grpc.ClientConn

	mu    sync.Mutex
	lose  func(*etcdserverpb.TxnRequest) bool
	first func()
	conns []net.Conn
}

// NewProxy passes on what comes by a listener to a server's socket, until the
// test ends.
func NewProxy(t testing.TB, socket string, listener net.Listener) *Proxy {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, server: conn}
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(p.pass),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}))
	go func() { _ = server.Serve(p) }()
	t.Cleanup(func() {
		server.Stop()
		_ = conn.Close()
	})
	return p
}

// Lose loses the answer to the next transaction for which is says so. When it has
// been carried out, first is called, and then all connections die.
func (p *Proxy) Lose(is func(*etcdserverpb.TxnRequest) bool, first func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose, p.first = is, first
}

// Puts tells whether a transaction may write a key below a prefix.
func Puts(r *etcdserverpb.TxnRequest, prefix string) bool {
	return slices.ContainsFunc(r.Success, func(op *etcdserverpb.RequestOp) bool {
		put := op.GetRequestPut()
		return put != nil && len(put.Key) >= len(prefix) && string(put.Key[:len(prefix)]) == prefix
	})
}

// Accept is net.Listener's: it remembers the connections.
func (p *Proxy) Accept() (net.Conn, error) {
	conn, err := p.listener.Accept()
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.conns = append(p.conns, conn)
	}
	return conn, err
}

// Close is net.Listener's.
func (p *Proxy) Close() error { return p.listener.Close() }

// Addr is net.Listener's.
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// loses tells whether the answer to a message is to be lost.
func (p *Proxy) loses(method string, message []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	var request etcdserverpb.TxnRequest
	if p.lose == nil || method != etcdserverpb.KV_Txn_FullMethodName || proto.Unmarshal(message, &request) != nil || !p.lose(&request) {
		return false
	}
	p.lose = nil
	return true
}

func (p *Proxy) die() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.conns = nil
}

// pass carries one call, which may be a stream.
func (p *Proxy) pass(_ any, near grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(near)
	ctx, cancel := context.WithCancel(near.Context())
	defer cancel()
	if sent, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, sent)
	}
	far, err := p.server.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	losing := make(chan bool, 1)
	go func() {
		for first := true; ; first = false {
			var message []byte
			if near.RecvMsg(&message) != nil {
				_ = far.CloseSend()
				return
			}
			if first {
				losing <- p.loses(method, message)
			}
			if far.SendMsg(&message) != nil {
				return
			}
		}
	}()
	for first := true; ; first = false {
		var message []byte
		err := far.RecvMsg(&message)
		if first && err == nil && <-losing {
			p.die()
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = near.SendMsg(&message)
		}
		if err != nil {
			return err
		}
	}
}

// raw leaves messages as they are.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = slices.Clone(data)
	return nil
}
func (raw) Name() string { return "proto" }
