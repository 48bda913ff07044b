package plugins_test

import "testing"

// TestTheAdministratorDecidesFirst: his rules in the chain that the reference
// firewall plugin has for him hold with ours too, whether the chain was there
// before or not, and outlive the containers.
func TestTheAdministratorDecidesFirst(t *testing.T) {
	for name, before := range map[string]string{"his chain is there": "iptables -N CNI-ADMIN; iptables -A CNI-ADMIN -p tcp --dport 81 -j DROP", "it is not": "true"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.env = []string{"NETCTL_FIREWALL=iptables"}
			client, a := h.outside(), h.container()
			on(t, client, "ip route add 10.88.0.0/16 via 192.0.2.1")
			on(t, h.ns, before)
			list := nerdctlList("iptables")
			list[2] = `{"type":"firewall"}`
			result := h.chain("ADD", "a", a, list, nil)
			on(t, h.ns, "iptables -C CNI-ADMIN -p tcp --dport 81 -j DROP || iptables -A CNI-ADMIN -p tcp --dport 81 -j DROP")
			h.chain("CHECK", "a", a, list, result)
			serve(t, a, "10.88.0.2:80", "a")
			if got, err := ask(client, "192.0.2.1:8080"); err != nil || got != "a" {
				t.Errorf("published port: %q, %v", got, err)
			}
			on(t, h.ns, "iptables -F CNI-ADMIN; iptables -A CNI-ADMIN -p tcp --dport 80 -j DROP")
			reachesNot(t, client, "192.0.2.1:8080")
			h.chain("DEL", "a", a, list, result)
			shows(t, h.ns, "iptables -S CNI-ADMIN", "--dport 80 -j DROP")
			h.wantClean()
		})
	}
}
