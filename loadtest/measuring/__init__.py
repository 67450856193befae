"""What the measuring commands beside this folder share: processes, proxies, the load tester, figures."""
