package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/netctl/netctl/plugins"
)

// list is the attachment of `netctl run`: a configuration list carried out in
// the process that wants it.
type list struct {
	list *plugins.List
}

func openList(state string) (job, error) {
	host := plugins.Host{StateDir: state, Firewall: "nftables", Log: slog.New(slog.DiscardHandler)}
	l, err := host.Parse(fmt.Appendf(nil, `{"cniVersion":"1.0.0","name":"bench","plugins":[%s]}`, oneEntry))
	return &list{list: l}, err
}

func (l *list) do(t task) (time.Duration, []byte, error) {
	call := plugins.Call{ContainerID: t.ID, Netns: t.Netns, IfName: "eth0", Capabilities: map[string]any{
		"portMappings": []map[string]any{{"hostPort": t.Port, "containerPort": 80, "protocol": "tcp"}}}}
	start := time.Now()
	if t.Verb == "DEL" {
		result := new(plugins.Result)
		if err := json.Unmarshal(t.Result, result); err != nil {
			return 0, nil, err
		}
		err := l.list.Del(context.Background(), call, result)
		return time.Since(start), nil, err
	}
	result, err := l.list.Add(context.Background(), call)
	took := time.Since(start)
	if err != nil {
		return took, nil, err
	}
	answer, err := json.Marshal(result)
	return took, answer, err
}
