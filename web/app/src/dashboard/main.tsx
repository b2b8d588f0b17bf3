// The dashboard's page.
import { mount } from "../mount.tsx";
import { Dashboard } from "./dashboard.tsx";

mount(<Dashboard />);
