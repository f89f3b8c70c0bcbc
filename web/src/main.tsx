import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { ApiError } from "./api/client";
import { LiveProvider } from "./api/live";
import { startTheme } from "./lib/theme";
import { Gate } from "./parts/gate";
import { router } from "./router";
import "./style.css";

startTheme();

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // What is refused is refused again; what did not answer may answer.
      retry: (failures, error) => failures < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 500),
      staleTime: 2000,
    },
  },
});

const root = document.getElementById("root");
if (root === null) throw new Error("the page has no root");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <Gate>
        <LiveProvider>
          <RouterProvider router={router} />
        </LiveProvider>
      </Gate>
    </QueryClientProvider>
  </StrictMode>,
);
